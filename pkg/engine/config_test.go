// SPDX-License-Identifier: MIT

package engine

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/pkg/layers"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// Every field has a default or is named here: a new field that populate forgets fails.
func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	noDefault := map[string]bool{"Model": true, "ModelID": true, "Peer": true, "PrefixCache": true, "Vocab": true, "StepCost": true, "Sleep": true, "Observer": true}
	var c Config
	c.populate()
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() != noDefault[name] {
			t.Errorf("after populate, %s is %v", name, v.Field(i))
		}
	}
	if c.MaxRows > protocol.MaxRows {
		t.Errorf("MaxRows is %d, the protocol allows %d", c.MaxRows, protocol.MaxRows)
	}
	set := Config{MaxSessions: 1, KVBudget: 2, Idle: 3, Queue: 4, MaxRows: 5, BufferBudget: 6, ReplayBudget: -7}
	set.populate()
	if set.MaxSessions != 1 || set.KVBudget != 2 || set.Idle != 3 || set.Queue != 4 || set.MaxRows != 5 || set.BufferBudget != 6 || set.ReplayBudget != -7 {
		t.Errorf("populate changed what was set: %+v", set)
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	good := Config{Model: new(layers.Model), ModelID: protocol.ModelID{1}}
	if err := good.validate(); err != nil {
		t.Fatalf("minimal config: %v", err)
	}
	for _, c := range []struct {
		words  string
		change func(*Config)
	}{
		{"no model:", func(c *Config) { c.Model = nil }},
		{"no model ID", func(c *Config) { c.ModelID = protocol.ModelID{} }},
		{"MaxSessions", func(c *Config) { c.MaxSessions = -1 }},
		{"KVBudget", func(c *Config) { c.KVBudget = -1 }},
		{"BufferBudget", func(c *Config) { c.BufferBudget = -1 }},
		{"Idle", func(c *Config) { c.Idle = -1 }},
		{"Queue", func(c *Config) { c.Queue = -1 }},
		{"MaxRows", func(c *Config) { c.MaxRows = protocol.MaxRows + 1 }},
		{"StepCost and Sleep", func(c *Config) { c.StepCost = func(int) time.Duration { return 0 } }},
		{"StepCost and Sleep", func(c *Config) { c.Sleep = func(context.Context, time.Duration) {} }},
	} {
		cfg := good
		c.change(&cfg)
		if err := cfg.validate(); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: error %v", c.words, err)
		}
	}
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "no model ID") || !strings.Contains(err.Error(), "no model:") {
		t.Errorf("New reports %v, want all problems", err)
	}
}
