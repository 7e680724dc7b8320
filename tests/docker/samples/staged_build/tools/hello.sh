#!/bin/sh
echo "hello from the tools"
