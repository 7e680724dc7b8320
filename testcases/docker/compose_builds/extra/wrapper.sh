echo wrapped; cat /inside.txt
