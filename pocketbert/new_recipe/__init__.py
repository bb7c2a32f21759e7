"""`pocketbert new`: a commented recipe for your own table."""
