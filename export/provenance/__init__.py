"""Who made a bundle, and of what: signatures, bills of materials, repositories on the Hub."""
