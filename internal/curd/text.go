package curd

import (
	"context"

	"curdling/internal/index"
)

// Text gets a requirements file or a lock file of at most limit bytes from a URL, in the way that Options say.
func Text(ctx context.Context, o Options, at string, limit int) ([]byte, error) {
	settings, err := o.client(nil)
	if err != nil {
		return nil, err
	}
	client, err := index.New(settings)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Text(ctx, at, limit)
}
