"""Which of the winner's regularizers help: the network trained without each of them, and with each other one, seed by seed on the same rows."""
