"""Commands over what is stored: each module has ``add_parser`` and what the command does."""
