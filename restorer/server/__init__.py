"""What do a browser, and a program on another machine, ask for? The same restorations, by HTTP and as a page."""
