"""Generated from protos/rlbridge/v1 by `make stubs`; never edited by hand."""
