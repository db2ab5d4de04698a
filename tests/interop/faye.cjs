// faye: long-polling and websocket. It has no acknowledgement extension, and sends on a dead connection what it held.
'use strict';
const http = require('http');
const faye = require('faye');
const {serve, numbered} = require('./control.cjs');

const options = JSON.parse(process.argv[2] || '{}');
const bayeux = new faye.NodeAdapter({mount: '/', timeout: options.timeoutSeconds || 20});
const clients = new Map();
let handshakes = 0;
let refusals = 0;
bayeux.on('handshake', client => { handshakes++; clients.set(client, 0); });
bayeux.on('subscribe', client => clients.set(client, clients.get(client) + 1));
bayeux.on('disconnect', client => clients.delete(client));
bayeux.addExtension({
    incoming: (message, callback) => {
        const refused = message.subscription === options.refused || (message.channel === '/meta/subscribe' && refusals-- > 0);
        if (message.channel === '/meta/subscribe' && refused) message.error = '403:' + message.subscription + ':denied';
        callback(message);
    }
});

const engine = bayeux._server._engine;
const server = http.createServer();
bayeux.attach(server);
serve(server, options.port || 0, {
    publish: order => numbered(order).forEach(message => engine.publish(message)),
    drop: () => [...clients.keys()].forEach(client => engine.destroyClient(client)),
    refuse: ({times}) => { refusals = times; },
    state: () => ({sessions: clients.size, subscribed: [...clients.values()].filter(count => count > 0).length, handshakes})
});
