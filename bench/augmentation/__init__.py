"""How fast data augmentation is."""
