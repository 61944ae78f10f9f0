"""Whole nights of the real program in virtual time, with everything around it going wrong as a seed says."""
