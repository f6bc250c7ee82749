#!/bin/sh
# Prints the price in cents of $1 apples: 25 each, and 20 each from ten on.
apples=$1
each=25
if [ "$apples" -gt 10 ]; then
    each=20
fi
echo $((apples * each))
