"""Other tools on the very same inputs. Each module imports its tool, which is no dependency of ours."""
