"""The model is checked: any order, repetition and loss, crashes between any two steps."""
