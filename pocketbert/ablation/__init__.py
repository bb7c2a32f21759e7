"""`pocketbert ablate`: students of a recipe with one part of the method changed at a time, over several seeds."""
