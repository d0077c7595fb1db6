"""One file a technique, in a folder a family (:data:`speedlight.techniques.technique.FAMILIES`)."""
