"""The laboratory: a virtual world in which the shipped selector is measured and users rehearse their outages."""
