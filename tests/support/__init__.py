"""What tests have in common: made songs and sites, stacks, builders."""
