"""The laboratory's commands: `regrain compare | evaluate | train | distill`."""
