"""Networks over HTTP: the page of `unetkit serve`, its interface, and what every server of unetkit stands on."""
