"""How fast the running parts are: measured on real servers, never judged by `make test`."""
