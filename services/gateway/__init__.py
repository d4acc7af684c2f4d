"""The door: REST, live events and the web page.  Decides nothing; any number of replicas."""
