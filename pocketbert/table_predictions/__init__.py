"""Predictions for the rows of a table of any size: reading, predicting and writing, a few thousand rows at a time."""
