"""What every part uses: errors, files, several processes, progress."""
