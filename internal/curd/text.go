package curd

import (
	"context"

	"curdling/internal/index"
)

// Text gets a requirements file or a lock file of at most limit bytes from a URL, in the way that Options say.
func Text(ctx context.Context, o Options, at string, limit int) ([]byte, error) {
	client, err := o.newClient()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Text(ctx, at, limit)
}

// newClient makes a client that keeps nothing.
func (o *Options) newClient() (*index.Client, error) {
	settings, err := o.client(nil)
	if err != nil {
		return nil, err
	}
	return index.New(settings)
}
