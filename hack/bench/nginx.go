package main

import (
	"context"
	"os"
	"os/exec"
	"strings"

	"github.com/latchkey-dev/latchkey/internal/testing/freeport"
	"github.com/latchkey-dev/latchkey/internal/testing/process"
)

// nginx is a running nginx with two listeners: one passes everything on, the other
// asks the check first.
type nginx struct {
	*child
	version        string
	plain, checked string
}

// nginxConfig keeps connections to both upstreams. The check must answer with an
// empty body: else nginx opens a connection to it for each request.
const nginxConfig = `
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {dir}/nginx-body;
  proxy_temp_path {dir}/nginx-proxy;
  fastcgi_temp_path {dir}/nginx-fastcgi;
  uwsgi_temp_path {dir}/nginx-uwsgi;
  scgi_temp_path {dir}/nginx-scgi;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  upstream backend { server {backend}; keepalive 64; keepalive_requests 100000000; }
  upstream check { server {check}; keepalive 64; keepalive_requests 100000000; }
  server {
    listen {plain};
    location / { proxy_pass http://backend; }
  }
  server {
    listen {checked};
    location / { auth_request /check; proxy_pass http://backend; }
    location = /check {
      internal;
      proxy_pass http://check;
      proxy_pass_request_body off;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header Content-Length "";
    }
  }
}
`

// startNginx starts nginx on the servers' core, or returns nil where it is not
// installed.
func (b *bench) startNginx(ctx context.Context, check string) (*nginx, error) {
	program, _ := exec.LookPath("nginx") // what can't be found is not installed
	if program == "" {
		return nil, nil
	}
	n := &nginx{version: nginxVersion(program)}
	var err error
	if n.plain, err = freeport.Address(); err != nil {
		return nil, err
	}
	if n.checked, err = freeport.Address(); err != nil {
		return nil, err
	}
	config := strings.NewReplacer("{dir}", b.dir, "{backend}", b.backend.address, "{check}", check,
		"{plain}", n.plain, "{checked}", n.checked).Replace(nginxConfig)
	file := b.path("nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	n.child, err = b.start(b.cores.server, process.Command{
		Path: program, Args: []string{"-p", b.dir, "-c", file, "-e", "stderr"}, LogFile: b.log("nginx"),
	})
	if err != nil {
		return nil, err
	}
	// It listens before it has a worker.
	return n, n.ready(ctx, "http://"+n.plain+target)
}

// pids are nginx's processes: the master is idle, its worker serves.
func (n *nginx) pids() []int { return append(descendants(n.pid()), n.pid()) }

func nginxVersion(program string) string {
	out, _ := exec.Command(program, "-v").CombinedOutput() // only to be shown
	return strings.TrimSpace(strings.TrimPrefix(string(out), "nginx version: "))
}
