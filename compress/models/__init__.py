"""Teachers and students: where they lie, how they are built, loaded and run."""
