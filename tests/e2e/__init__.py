"""Tests from outside: real processes, real sockets, the clients people use."""
