"""Separation, measured: Stembus beside what a user would pick instead, on one machine."""
