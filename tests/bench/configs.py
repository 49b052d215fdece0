"""
The configurations of the origin and of the proxies, each for the same work.

Templates: the ports, the directory and the certificate come from `peers`. The first server's weight
is what a reload changes.
"""

from __future__ import annotations

ORIGIN = """\
daemon off; worker_processes 1; pid $directory/origin.pid; error_log $directory/origin.err;
worker_rlimit_nofile $files;
events { worker_connections 19000; }
http {
    access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; sendfile on;
    client_body_temp_path $directory/origin-body; proxy_temp_path $directory/origin-proxy;
    fastcgi_temp_path $directory/o1; uwsgi_temp_path $directory/o2; scgi_temp_path $directory/o3;
    default_type text/plain; etag off;
    map $$server_port $$which { $a a; $b b; }
    server {
        listen $host:$a backlog=8192; listen $host:$b backlog=8192;
        root $directory;
        location / {
            add_header Cache-Control "no-cache"; add_header X-Request-Id "$$request_id";
            add_header Vary "Accept-Encoding";
            return 200 "$body origin $$which\\n";
        }
        location = /big { }
    }
}
"""

NGINX = """\
load_module $modules/ngx_stream_module.so;
daemon off; worker_processes 1; pid $directory/nginx.pid; error_log $directory/nginx.err;
worker_rlimit_nofile $files;
events { worker_connections 19000; }
http {
    access_log $directory/nginx.access.log combined;
    keepalive_requests 1000000000; keepalive_timeout 600s;
    client_body_temp_path $directory/nginx-body; proxy_temp_path $directory/nginx-proxy;
    fastcgi_temp_path $directory/n1; uwsgi_temp_path $directory/n2; scgi_temp_path $directory/n3;
    upstream origin {
        server $host:$a weight=1; server $host:$b;
        keepalive 128; keepalive_requests 1000000000;
    }
    server {
        listen $host:$http backlog=8192;
        listen $host:$https ssl backlog=8192;
        ssl_certificate $pem; ssl_certificate_key $pem; ssl_protocols TLSv1.2 TLSv1.3;
        location / {
            proxy_pass http://origin; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_set_header Host $$host;
            proxy_set_header X-Forwarded-For $$proxy_add_x_forwarded_for;
        }
    }
}
stream {
    upstream origin { server $host:$a; server $host:$b; }
    upstream echo { server $host:$echo; }
    server { listen $host:$tcp backlog=8192; proxy_pass origin; tcp_nodelay on; }
    server { listen $host:$udp udp; proxy_pass echo; proxy_timeout 30s; }
}
"""

HAPROXY = """\
global
    nbthread 1
    maxconn 15000
    no strict-limits
    ssl-default-bind-options ssl-min-ver TLSv1.2
    log stdout format raw local0
defaults
    log global
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
frontend web
    mode http
    option httplog
    option dontlognull
    option forwardfor
    bind $host:$http backlog 8192
    bind $host:$https ssl crt $pem backlog 8192
    default_backend origin
backend origin
    mode http
    balance roundrobin
    http-reuse safe
    option httpchk GET /
    server a $host:$a weight 1 check
    server b $host:$b check
listen relay
    mode tcp
    option tcplog
    balance roundrobin
    bind $host:$tcp backlog 8192
    server a $host:$a check
    server b $host:$b check
"""

BALANCER = """\
[site]
admin = $host:$admin
drain-timeout = 1s

[pool origin]
servers =
    a $host:$a weight=1
    b $host:$b
check = http GET /

[pool echo]
servers = a $host:$echo
check = none

[http web]
listen =
    $host:$http
    $host:$https tls=$pem
pool = origin
access-log = $directory/balancer.access.log
idle-timeout = 600s
max-connections = 15000

[tcp relay]
listen = $host:$tcp
pool = origin
max-connections = 15000

[udp relay]
listen = $host:$udp
pool = echo
max-connections = 15000
"""
