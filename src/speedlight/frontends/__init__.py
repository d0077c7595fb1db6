"""Model sources → graphs. Frontends are leaves: they import only ``graph`` and ``_foundation``."""
