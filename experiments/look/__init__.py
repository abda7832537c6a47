"""Looks inside trained networks (paper section 6): walks, arithmetic, filters, forgetting, memorisation."""
