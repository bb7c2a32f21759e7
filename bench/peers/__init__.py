"""Other toolkits, measured on the same inputs. Each module imports its toolkit, which is not a dependency of ours."""
