"""Predictions for the rows of a table of any size: reading, predicting and writing, a window of rows at a time."""
