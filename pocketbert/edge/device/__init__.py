"""What an archive runs on the other machine. Imports only the standard library, of Python 3.10 or newer."""
