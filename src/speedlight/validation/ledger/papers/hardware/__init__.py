"""Papers on other machines: in-memory, in-flash, dataflow, hardwired; and on what circuits cost."""
