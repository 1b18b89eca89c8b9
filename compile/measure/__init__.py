"""How long a program takes: samples, and what may be said of them."""
