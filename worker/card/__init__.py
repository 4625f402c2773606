"""The card: which one it is, who is on it, how soon it is free, and so how many jobs to hold."""
