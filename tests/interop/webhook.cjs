// A receiver of webhooks as its author would write it: `standardwebhooks` verifies, `cloudevents` reads the event.
// Verifies with options.secret; answers 204, or 401 where the signature is wrong; the order "received" tells all so far.
'use strict';
const http = require('http');
const {Webhook} = require('standardwebhooks');
const {HTTP} = require('cloudevents');
const {serve} = require('./control.cjs');

const options = JSON.parse(process.argv[2] || '{}');
const webhook = new Webhook(options.secret);
const received = [];

const receive = (headers, body) => {
    try {
        webhook.verify(body, headers);
    } catch (error) {
        received.push({verified: false, error: error.message});
        return 401;
    }
    const event = HTTP.toEvent({headers, body});
    event.validate();
    received.push({verified: true, event: event.toJSON()});
    return 204;
};

const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', chunk => chunks.push(chunk));
    request.on('end', () => {
        response.statusCode = receive(request.headers, Buffer.concat(chunks).toString());
        response.end();
    });
});

serve(server, options.port || 0, {received: () => ({received})});
