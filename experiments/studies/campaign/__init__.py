"""What a GPU should train for this project, in order of worth."""
