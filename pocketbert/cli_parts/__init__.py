"""What the commands share: options, completion, text output."""
