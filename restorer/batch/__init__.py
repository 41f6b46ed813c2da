"""Which photos, in which order, what is done already? Lists, names, journals, estimates, runs."""
