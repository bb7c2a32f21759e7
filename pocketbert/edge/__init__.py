"""Archives that install a bundle on another machine, without network."""
