"""What is said: one file turns records into one kind of document."""
