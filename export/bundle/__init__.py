"""The bundle: the folder that is shipped."""
