"""Installs what the project needs into its folder, with what the machine already has. Standard library only."""
