"""`dcgan-eval look KIND`: looks inside trained networks (paper section 6)."""
