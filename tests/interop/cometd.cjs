// The CometD project's own server: long-polling, with its acknowledgement extension if asked for. No websocket.
'use strict';
const http = require('http');
const cometd = require('cometd-nodejs-server');
const {AcknowledgedMessagesExtension} = require('cometd-nodejs-server/ack-extension');
const {serve, numbered} = require('./control.cjs');

const options = JSON.parse(process.argv[2] || '{}');
const server = cometd.createCometDServer({sweepPeriod: 100, ...options});
if (options.acknowledge) server.addExtension(new AcknowledgedMessagesExtension());

const sessions = new Set();
const counts = {handshakes: 0, connects: 0, acknowledged: 0};
let refusals = 0;
server.addListener('sessionAdded', session => { sessions.add(session); counts.handshakes++; });
server.addListener('sessionRemoved', session => sessions.delete(session));
server.addExtension({
    incoming: (server_, session, message, callback) => {
        if (message.channel === '/meta/connect') {
            counts.connects++;
            if (message.ext && typeof message.ext.ack === 'number') counts.acknowledged = message.ext.ack;
        }
        callback(undefined, true);
    }
});
server.policy = {
    canHandshake: (session, message, callback) =>
        callback(undefined, server.context.request.headers.authorization === (options.authorization || server.context.request.headers.authorization)),
    canSubscribe: (session, message, channel, callback) =>
        callback(undefined, !(channel.name === options.refused || refusals-- > 0))
};

const subscribed = () => [...sessions].filter(session => session.subscriptions.length > 0).length;

serve(http.createServer(server.handle), options.port || 0, {
    publish: order => numbered(order).forEach(({channel, data}) => server.createServerChannel(channel).publish(null, data)),
    drop: () => [...sessions].forEach(session => server._removeServerSession(session, true)),
    refuse: ({times}) => { refusals = times; },
    state: () => ({sessions: sessions.size, subscribed: subscribed(), ...counts})
});
