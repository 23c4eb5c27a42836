"""What `script/test` runs: stages of steps, counted."""
