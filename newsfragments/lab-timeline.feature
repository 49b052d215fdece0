`make lab LAB=timeline`: when HTTP, TCP, ECMP, DNS and BGP followed the verdict on a site's last server.
