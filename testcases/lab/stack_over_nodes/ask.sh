#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
# Of the task itself: the address of the service needs IPVS. And this nc, linked statically, cannot look up names.
store=$(nslookup tasks.store | sed -n '/^Name:/,$s/^Address: *//p' | head -n 1)
nc -w 5 "$store" 7000
